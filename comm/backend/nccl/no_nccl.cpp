// Stands in for nccl_library.cpp where the build found no CUDA toolkit, or no header of NCCL.
#include <stdexcept>

#include "comm/backend/nccl/nccl_backend.h"

namespace thinwire::comm {

void require_nccl() {
  throw std::invalid_argument(
      "comm.backend = \"nccl\": this build has no NCCL; install the CUDA toolkit, run cmake/gpu.sh, "
      "configure and "
      "build again, or use backend \"mpi\" or \"threads\"");
}

std::unique_ptr<NcclApi> make_nccl_api(int) {
  require_nccl();
  return nullptr;
}

std::unique_ptr<Transport> connect_nccl(const BackendOptions&) {
  require_nccl();
  return nullptr;
}

}  // namespace thinwire::comm
