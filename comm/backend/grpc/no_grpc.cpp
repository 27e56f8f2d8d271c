// Stands in for the sources of this folder where the build found no gRPC.
#include <stdexcept>

#include "comm/backend/grpc/certificates.h"
#include "comm/backend/grpc/coordinator.h"
#include "comm/backend/grpc/grpc_backend.h"

namespace thinwire::comm {

namespace {

[[noreturn]] void refuse() {
  throw std::invalid_argument(
      "comm.backend = \"grpc\": this build has no gRPC; install gRPC, Protobuf and OpenSSL (Debian: "
      "libgrpc++-dev "
      "protobuf-compiler-grpc libprotobuf-dev protobuf-compiler libssl-dev), configure and build again, or "
      "use "
      "backend \"mpi\"");
}

}  // namespace

std::unique_ptr<Transport> connect_grpc(const BackendOptions&) {
  refuse();
}

std::vector<std::string> make_certificates(const CertificateOptions&) {
  refuse();
}

struct Coordinator::Impl {};
Coordinator::Coordinator(const CoordinatorOptions&) {
  refuse();
}
Coordinator::~Coordinator() = default;
std::string Coordinator::address() const {
  refuse();
}
Coordinator::Outcome Coordinator::wait() {
  refuse();
}
void Coordinator::stop() {}

}  // namespace thinwire::comm
