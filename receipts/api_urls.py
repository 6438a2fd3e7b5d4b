from django.urls import path

import nodes.converters  # noqa: F401 - installs <nodeid:…> and <requestid:…>
from receipts import api
from receipts.dispatches.api import dispatches
from receipts.gateways.api import gateway_nodes, networks

urlpatterns = [
    path("dispatches", dispatches, name="api-dispatches"),
    path("gateways/nodes", gateway_nodes, name="api-gateway-nodes"),
    path("networks", networks, name="api-networks"),
    path("receipts", api.receipts, name="api-receipts"),
    path("receipts/<nodeid:node_id>/<requestid:request_id>", api.receipt_detail, name="api-receipt"),
    path("receipts/<nodeid:node_id>/<requestid:request_id>/raw", api.receipt_raw, name="api-receipt-raw"),
]
