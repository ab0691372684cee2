"""Who can get into devices: changes of accounts and rights, and the reviews that sign them off."""
