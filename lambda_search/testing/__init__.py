"""The contracts that every framework and every extractor must pass, for pytest.

Subclass one, give it a fixture `case`, and pytest runs it; nothing here imports pytest. With
`pytest.register_assert_rewrite("lambda_search.testing")` in a conftest.py a failure shows its
values.
"""
