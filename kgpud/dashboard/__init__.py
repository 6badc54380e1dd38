"""The dashboard: pages for people, over the same services as the REST API.

`routes` is the one table of pages and who may see them; `site` turns it into handlers that check
the browser, the form and the account; a module per page says what is on it. Pages work without
JavaScript; `static/page.js` only makes them handier.
"""
