"""Every amount of earnings that is shown anywhere is computed here: pages, API, exports and statements use it."""
