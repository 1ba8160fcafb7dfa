#!/bin/sh
# Shows what a CGI program sees of the session; ?x=... becomes the answer of SessionHeader.
[ -z "$QUERY_STRING" ] || printf 'X-Replace-Session: %s\n' "$QUERY_STRING"
printf 'Content-Type: text/plain\n\nsession=%s\ncookie=%s\nroute=%s\nheader=%s\n' \
    "$HTTP_SESSION" "$HTTP_COOKIE" "$SESSION_CLUSTER_ROUTE" "$HTTP_X_REPLACE_SESSION"
