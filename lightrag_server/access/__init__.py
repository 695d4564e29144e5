"""Who a credential belongs to: accounts, keys, tokens, logins, and the record of changes. Knows no HTTP."""
