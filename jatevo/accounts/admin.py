"""Django admin for organisations and people. Every change writes an audit row. People are never deleted."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth import password_validation
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from jatevo.accounts import second_factor
from jatevo.accounts.actions import LastAdmin, has_second_factor, record_new_user, reset_password, save_user
from jatevo.accounts.models import Org, User
from jatevo.accounts.password_reset import LinkInvalid, hand_out_link
from jatevo.accounts.permissions import user_of
from jatevo.audit.record import actor_of, record

admin.site.site_title = "Jatevo staff"
admin.site.site_header = "Jatevo staff (all times in UTC)"
admin.site.unregister(Group)  # permissions follow from the role
# These pages would show secrets, also of other admins. People set up their own devices; admins can only
# remove them.
admin.site.unregister(TOTPDevice)
admin.site.unregister(StaticDevice)


class UserForm(forms.ModelForm):
    """The email is the login and is stored in lower case.

    For an existing person the password may be left empty.
    """

    new_password = forms.CharField(
        max_length=1024,
        strip=False,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least 12 characters. Signs that person out everywhere. Leave empty to keep the current password.",
    )

    class Meta:
        model = User
        fields = ["email", "name", "role", "org", "is_active"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance._state.adding:
            self.fields["new_password"].required = True
            self.fields[
                "new_password"
            ].help_text = "At least 12 characters. Send it to the person over a secure channel."

    def clean_email(self) -> str:
        return str(self.cleaned_data["email"]).lower()

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if new := cleaned.get("new_password"):
            # The password must not resemble the person's new name or email.
            person = User(email=cleaned.get("email", ""), name=cleaned.get("name", ""))
            try:
                password_validation.validate_password(new, person)
            except forms.ValidationError as error:
                self.add_error("new_password", error)
        return cleaned


class NeverDeleted:
    """Rows cannot be deleted, because the audit log and receipts refer to them.

    People are deactivated instead.
    """

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False


@admin.register(User)
class UserAdmin(NeverDeleted, admin.ModelAdmin):
    form = UserForm
    fields = ["email", "name", "role", "org", "is_active", "new_password", "second_factor", "last_login"]
    readonly_fields = ["second_factor", "last_login"]
    list_display = ["email", "name", "role", "org", "is_active", "last_login"]
    list_filter = ["role", "is_active", "org"]
    list_select_related = ["org"]
    search_fields = ["email", "name"]
    autocomplete_fields = ["org"]
    actions = ["one_time_link", "remove_second_factor"]

    @admin.display(description="Two-factor authentication", boolean=True)
    def second_factor(self, user: User) -> bool:
        return has_second_factor(user)

    @admin.action(description="Create a one-time link to set a new password", permissions=["change"])
    def one_time_link(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        minutes = settings.PASSWORD_RESET_TIMEOUT // 60
        for user in queryset:
            try:
                link = hand_out_link(user=user, by=user_of(request))
            except LinkInvalid:
                self.message_user(request, f"{user.email} is deactivated.", messages.ERROR)
            else:
                text = f"For {user.email}, shown only once, valid for {minutes} minutes and one use: {link}"
                self.message_user(request, text, messages.WARNING)

    @admin.action(description="Turn off two-factor authentication", permissions=["change"])
    def remove_second_factor(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        removed = sum(second_factor.remove(user=user, by=user_of(request)) for user in queryset)
        self.message_user(request, f"{removed} removed.")

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Rolls the change back and shows an error if it would remove the last admin."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except LastAdmin as error:
            self.message_user(request, f"Nothing was saved. {error}", messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        by = user_of(request)
        new_password = form.cleaned_data["new_password"]
        if not change:
            obj.set_password(new_password)
            obj.save()
            record_new_user(user=obj, by=by)
            return
        changes = {
            field: (str(form.initial[field]), str(obj.serializable_value(field)))
            for field in form.changed_data
            if field != "new_password"
        }
        if changes:
            save_user(user=obj, changes=changes, by=by, at=timezone.now())
        if new_password:
            reset_password(user=obj, new=new_password, by=by, at=timezone.now())


@admin.register(Org)
class OrgAdmin(NeverDeleted, admin.ModelAdmin):
    fields = ["name"]
    list_display = ["name", "id", "created_at"]
    search_fields = ["name"]

    def save_model(self, request: HttpRequest, obj: Org, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        record(
            "org.change" if change else "org.create",
            by=actor_of(request.user),
            subject_kind="org",
            subject_id=str(obj.pk),
            org_id=obj.pk,
            name=obj.name,
        )
