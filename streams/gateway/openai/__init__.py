"""OpenAI's HTTP API in our terms: requests read, answers and errors written. Pure."""
