from django.urls import path

import nodes.converters  # noqa: F401 - installs <nodeid:…> and <requestid:…>
from receipts import api
from receipts.dispatches.api import dispatches

urlpatterns = [
    path("dispatches", dispatches, name="api-dispatches"),
    path("receipts", api.receipts, name="api-receipts"),
    path("receipts/<nodeid:node_id>/<requestid:request_id>", api.receipt_detail, name="api-receipt"),
    path("receipts/<nodeid:node_id>/<requestid:request_id>/raw", api.receipt_raw, name="api-receipt-raw"),
]
