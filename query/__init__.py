"""What answers a question: the language field, phrases, relevancy, answers, pictures, report. It knows no benchmark."""
