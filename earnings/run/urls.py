"""URLs of the payout run."""

from django.urls import path

from earnings.run import acts, views

app_name = "earnings_run"
urlpatterns = [
    path("", views.run, name="run"),
    path("preview/", views.ask, name="ask"),
    path("mark/", views.mark, name="mark"),
    path("payouts/<int:payout_id>/confirm/", acts.confirm_payout, name="confirm"),
    path("payouts/<int:payout_id>/withdraw/", acts.withdraw_payout, name="withdraw"),
    path("export/", acts.export_ready, name="export"),
    path("files/<int:number>/", views.file, name="file"),
    path("files/<int:number>.csv", views.download, name="download"),
    path("payments/<int:payment_id>/return/", acts.return_of_payment, name="return"),
]
