"""The contracts that every framework and every extractor must pass, for pytest.

Subclass one, give it a fixture `case`, and pytest runs it; nothing here imports pytest.
"""
