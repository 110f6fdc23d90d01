"""The control channel: KVM's verbs over ZeroMQ. Messages, access rights, server, client."""
