"""A local page on which embeddings are looked at: map, thumbnails, neighbours side by side, marks.

:mod:`collection` reads embeddings, tables and images into one :class:`collection.Collection`; :mod:`serve` starts a server that
shows it on a loopback page, :mod:`page` writes it into one file. Only :mod:`server` and :mod:`serve` need FastAPI and uvicorn.
"""
