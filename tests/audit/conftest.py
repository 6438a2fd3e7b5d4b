from tests.audit.flushing import audit_log_is_flushed_between_tests

__all__ = ["audit_log_is_flushed_between_tests"]
