from tests.unit.gap_fixtures import bundle, gap, sealed

__all__ = ["bundle", "gap", "sealed"]
