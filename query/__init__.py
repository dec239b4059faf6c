"""Text queries: language field, phrases, relevancy, answers, pictures and report. Independent of any benchmark."""
