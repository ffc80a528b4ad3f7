"""The report: what the results say, as tables, sentences, pictures and one page."""
