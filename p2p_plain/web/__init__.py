"""The status page: server, pages, feed, metrics, page.html."""
