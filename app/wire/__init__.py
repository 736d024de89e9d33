"""What crosses the wire: shapes, formats and units. Knows no HTTP."""
