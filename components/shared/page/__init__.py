"""The one style of every page that Darkroom writes: a page needs no network, runs no script, and shows every name as text."""
