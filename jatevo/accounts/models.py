"""Organisations, people and their refresh sessions."""

import uuid
from datetime import datetime
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.db.models.functions import Lower, Now


class Role(models.TextChoices):
    ADMIN = "admin", "Admin"
    OPERATOR = "operator", "Operator"
    VIEWER = "viewer", "Viewer"


class Org(models.Model):
    """An organisation, which owns nodes and is paid for them."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120, unique=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = "organisation"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.full_clean(exclude=["password"])
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, **{"role": Role.ADMIN, **fields})

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email=(username or "").lower())


class User(AbstractBaseUser, PermissionsMixin):
    """A person.

    The email address is the login. The role decides what they may do, the organisation which rows.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(unique=True)
    name = models.CharField(max_length=120, blank=True)
    org = models.ForeignKey(Org, on_delete=models.PROTECT, null=True, blank=True, related_name="users")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.VIEWER)
    is_active = models.BooleanField(default=True)
    # A name of the IANA database; empty until chosen, and then UTC
    time_zone = models.CharField(max_length=64, blank=True, default="", db_default="")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        ordering = ["email"]
        constraints = [
            models.UniqueConstraint(Lower("email"), name="user_email_unique_whatever_case"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="user_role_known"),
            models.CheckConstraint(
                condition=~models.Q(role=Role.OPERATOR) | models.Q(org__isnull=False),
                name="user_operator_has_org",
                violation_error_message="An operator belongs to an organisation.",
            ),
        ]

    def __str__(self) -> str:
        return self.email

    @property
    def is_admin(self) -> bool:
        return self.role == Role.ADMIN

    @property
    def is_staff(self) -> bool:
        """Whether the person may use Django admin. Only admins may."""
        return self.is_admin

    # Not a column as in Django. The role grants all model permissions, so a demotion removes them at once.
    is_superuser: Any = property(lambda user: user.is_admin)


class RefreshSession(models.Model):
    """One refresh token.

    A rotated one refers to its successor, so that parallel refreshes get the same token.

    The token itself is not stored. Signing `id`, `user`, `issued_at` and `expires_at` again gives the same
    bytes.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)  # the token's jti
    family = models.UUIDField(db_index=True)  # all tokens that descend from one login
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="refresh_sessions")
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)
    rotated_at = models.DateTimeField(null=True)
    successor = models.OneToOneField("self", on_delete=models.SET_NULL, null=True, related_name="predecessor")
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(expires_at__gt=models.F("issued_at")), name="refresh_session_expires_later"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} of {self.user_id}"

    def live(self, at: datetime) -> bool:
        return self.revoked_at is None and self.expires_at > at


class LoginAttempt(models.Model):
    """One counted attempt to sign in. Written only while Redis is away."""

    limit = models.CharField(max_length=24)  # a name of settings.RATE_LIMITS
    key = models.CharField(max_length=64)  # SHA-256 of the address or the account, in hex
    at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["limit", "key", "at"], name="login_attempt_by_key"),
            models.Index(fields=["at"], name="login_attempt_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.limit} at {self.at:%F %T}"
