"""The local stack: broker, routers and workers as background processes of one folder."""
