// The `grpc` backend: workers that share no MPI world find each other at a coordinator and send each other
// data over gRPC. grpc_transport.cpp, or its stub no_grpc.cpp where the build found no gRPC.
#pragma once

#include <memory>

#include "comm/backend/backend.h"
#include "comm/transport.h"

namespace thinwire::comm {

// Joins the world of options.grpc.coordinator and blocks until it is complete. Throws std::invalid_argument
// for options that cannot be, what the coordinator refuses, and in a build without gRPC; CommError if the
// coordinator or other workers stay away.
std::unique_ptr<Transport> connect_grpc(const BackendOptions& options);

}  // namespace thinwire::comm
