"""The gateway: HTTP and the web page in front of the gRPC services. It holds no state and no logic of the domain."""

import services as services  # sets what gRPC reads when it is imported
