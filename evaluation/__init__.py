"""Text queries on a language field: relevancy, masks, points, benchmark protocols, pictures and the report."""
