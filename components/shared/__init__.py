"""What two steps or more use. Modules here know files and libraries, never a step."""
