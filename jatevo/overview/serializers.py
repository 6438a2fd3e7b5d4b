"""The shapes of /v1/summary and /v1/incidents."""

from rest_framework import serializers

from jatevo.overview.models import Incident, Severity


class RegionLatency(serializers.Serializer):
    region = serializers.CharField(source="name")
    p95_ms = serializers.FloatField(allow_null=True)
    nodes = serializers.IntegerField(help_text="active ones")


class Summary(serializers.Serializer):
    """A figure that is not known is null, never 0."""

    active_nodes = serializers.IntegerField(allow_null=True)
    p95_global = serializers.FloatField(allow_null=True, help_text="milliseconds, over the last hour")
    p95_by_region = RegionLatency(many=True)
    models_cached = serializers.IntegerField(allow_null=True)
    requests_24h = serializers.IntegerField(allow_null=True)
    as_of = serializers.DateTimeField(help_text="the age of the oldest figure")


class IncidentLine(serializers.ModelSerializer):
    severity = serializers.ChoiceField(choices=Severity.choices)
    region = serializers.CharField(help_text="empty: the whole network")

    class Meta:
        model = Incident
        fields = ["id", "severity", "title", "description", "region", "created_at", "resolved_at"]
