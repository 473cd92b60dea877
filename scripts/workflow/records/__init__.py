"""What results say of themselves, and how that compares with what the configuration asks for."""
