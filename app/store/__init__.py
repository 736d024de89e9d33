"""What has been learned: version files and the activation log."""
