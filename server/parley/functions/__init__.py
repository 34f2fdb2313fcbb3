"""What an app is written with: `ctx`, the registry, and the checking of arguments."""
