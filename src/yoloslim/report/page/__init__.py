"""The page: `report/index.html`, one file with charts, photographs and tables that opens offline."""
