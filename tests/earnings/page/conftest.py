from tests.page_readers import operator, org

__all__ = ["operator", "org"]
