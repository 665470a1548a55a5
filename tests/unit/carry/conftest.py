from tests.unit.gap_fixtures import bundle, gap, sealed, thirds, volumes

__all__ = ["bundle", "gap", "sealed", "thirds", "volumes"]
