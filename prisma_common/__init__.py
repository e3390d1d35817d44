"""The shared foundation of services, gateway and client: the wire codec, error reasons, addresses and names."""
