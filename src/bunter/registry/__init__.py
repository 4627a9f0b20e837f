"""What is where: the registry of one repository."""
