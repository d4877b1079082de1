"""Who asks: people, tokens, sign-in, OpenID Connect, and how often they may."""
