"""One node, as a page or in the drawer: its tabs, charts, history and actions."""
