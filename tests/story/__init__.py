"""Two years of a headquarters, two vendors and five sites, on a clock that the test sets."""
