"""One node, as a page or in the drawer: its tabs, charts and history, and what can be done to it."""
