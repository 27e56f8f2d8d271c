// The `nccl` backend: payloads from host memory to host memory, between GPUs by NCCL, of workers of one site.
// mpirun starts the workers and MPI carries what is small; see nccl_transport.h.
#pragma once

#include <memory>

#include "comm/backend/backend.h"
#include "comm/backend/nccl/nccl_api.h"
#include "comm/transport.h"

namespace thinwire::comm {

// Throws std::invalid_argument that says what is missing: NCCL in this build, or a CUDA device in this
// machine.
void require_nccl();

// NCCL on device `device` of this machine. Throws as require_nccl, or NcclError.
std::unique_ptr<NcclApi> make_nccl_api(int device);

// In the world that mpirun started: rank r takes device r mod the machine's devices, which gives every rank
// one of its own if ranks fill one machine after the other. Throws as require_nccl.
std::unique_ptr<Transport> connect_nccl(const BackendOptions& options);

}  // namespace thinwire::comm
