"""The one style of every page: it needs no network, runs no script but its template's own, and shows every name as text."""
