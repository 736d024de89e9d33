"""The content types of bodies and answers."""

JSON = "application/json"
CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
GEOJSON = "application/geo+json"
EVENTS = "text/event-stream"
BINARY = "application/octet-stream"
PROBLEM = "application/problem+json"
