"""Commands that look after the data: doctor, backup, restore."""
