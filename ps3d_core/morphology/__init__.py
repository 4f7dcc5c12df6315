"""Size and shape of whole particles."""
