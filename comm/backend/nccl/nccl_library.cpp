// NcclApi on NCCL itself. Communicators are non-blocking: every call returns at once, and NCCL's own threads
// go on.
#include <cuda_runtime_api.h>
#include <fmt/format.h>
#include <nccl.h>

#include <cstring>
#include <stdexcept>
#include <utility>

#include "comm/backend/mpi/mpi_backend.h"
#include "comm/backend/nccl/nccl_backend.h"
#include "comm/backend/nccl/nccl_transport.h"
#include "quant/kernel/cuda/cuda_check.h"

namespace thinwire::comm {

namespace {

void check_nccl(ncclResult_t result, ncclComm_t comm, const char* call) {
  if (result == ncclSuccess || result == ncclInProgress) return;
  throw NcclError(
      fmt::format("NCCL: {} failed: {}; {}", call, ncclGetErrorString(result), ncclGetLastError(comm)));
}

#define THINWIRE_NCCL_CHECK(call, comm) check_nccl(call, comm, #call)

class LibrarySlot final : public NcclSlot {
 public:
  explicit LibrarySlot(std::size_t num_bytes) : num_bytes_(num_bytes), device_(num_bytes) {
    THINWIRE_CUDA_CHECK(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming));
    try {
      THINWIRE_CUDA_CHECK(cudaMallocHost(&host_, num_bytes));
    } catch (...) {
      cudaEventDestroy(event_);
      throw;
    }
  }
  ~LibrarySlot() override {
    cudaFreeHost(host_);
    cudaEventDestroy(event_);
  }
  LibrarySlot(const LibrarySlot&) = delete;
  LibrarySlot& operator=(const LibrarySlot&) = delete;

  std::span<std::byte> host() override { return {static_cast<std::byte*>(host_), num_bytes_}; }
  bool is_done() override {
    const cudaError_t state = cudaEventQuery(event_);
    if (state == cudaErrorNotReady) return false;
    quant::cuda::check_cuda(state, "cudaEventQuery");
    return true;
  }

  void* device() const { return device_.as<std::byte>().data; }
  cudaEvent_t event() const { return event_; }

 private:
  const std::size_t num_bytes_;
  const quant::cuda::DeviceBuffer device_;
  void* host_ = nullptr;
  cudaEvent_t event_ = nullptr;
};

// The sender is rank 0 of two.
class LibraryPair final : public NcclPair {
 public:
  LibraryPair(const NcclId& id, bool sender) : other_(sender ? 1 : 0) {
    THINWIRE_CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    ncclUniqueId unique_id;
    static_assert(sizeof unique_id == sizeof id);
    std::memcpy(&unique_id, id.data(), id.size());
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    try {
      THINWIRE_NCCL_CHECK(ncclCommInitRankConfig(&comm_, 2, unique_id, 1 - other_, &config), comm_);
    } catch (...) {
      close();
      throw;
    }
  }
  ~LibraryPair() override { close(); }
  LibraryPair(const LibraryPair&) = delete;
  LibraryPair& operator=(const LibraryPair&) = delete;

  bool is_ready() override {
    ncclResult_t state = ncclSuccess;
    THINWIRE_NCCL_CHECK(ncclCommGetAsyncError(comm_, &state), comm_);
    check_nccl(state, comm_, "asynchronous work");
    return state == ncclSuccess;
  }
  void copy_to_device(NcclSlot& slot, std::size_t num_bytes) override {
    LibrarySlot& own = cast(slot);
    THINWIRE_CUDA_CHECK(
        cudaMemcpyAsync(own.device(), own.host().data(), num_bytes, cudaMemcpyHostToDevice, stream_));
  }
  void copy_to_host(NcclSlot& slot, std::size_t num_bytes) override {
    LibrarySlot& own = cast(slot);
    THINWIRE_CUDA_CHECK(
        cudaMemcpyAsync(own.host().data(), own.device(), num_bytes, cudaMemcpyDeviceToHost, stream_));
  }
  void send(NcclSlot& slot, std::size_t num_bytes) override {
    THINWIRE_NCCL_CHECK(ncclSend(cast(slot).device(), num_bytes, ncclUint8, other_, comm_, stream_), comm_);
  }
  void receive(NcclSlot& slot, std::size_t num_bytes) override {
    THINWIRE_NCCL_CHECK(ncclRecv(cast(slot).device(), num_bytes, ncclUint8, other_, comm_, stream_), comm_);
  }
  void mark(NcclSlot& slot) override { THINWIRE_CUDA_CHECK(cudaEventRecord(cast(slot).event(), stream_)); }

 private:
  // All slots are of the one NcclApi.
  static LibrarySlot& cast(NcclSlot& slot) { return static_cast<LibrarySlot&>(slot); }

  // Abort is the way out that waits for nobody; what was asked for is done by then, or lost anyhow.
  void close() noexcept {
    if (comm_ != nullptr) ncclCommAbort(comm_);
    cudaStreamDestroy(stream_);
  }

  const int other_;
  cudaStream_t stream_ = nullptr;
  ncclComm_t comm_ = nullptr;
};

class Library final : public NcclApi {
 public:
  explicit Library(int device) { quant::cuda::use_device(device); }

  NcclId make_id() override {
    ncclUniqueId unique_id;
    THINWIRE_NCCL_CHECK(ncclGetUniqueId(&unique_id), nullptr);
    NcclId id;
    std::memcpy(id.data(), &unique_id, id.size());
    return id;
  }
  std::unique_ptr<NcclPair> join(const NcclId& id, bool sender) override {
    return std::make_unique<LibraryPair>(id, sender);
  }
  std::unique_ptr<NcclSlot> make_slot(std::size_t num_bytes) override {
    return std::make_unique<LibrarySlot>(num_bytes);
  }
};

}  // namespace

void require_nccl() {
  if (quant::cuda::num_devices() > 0) return;
  throw std::invalid_argument(
      "comm.backend = \"nccl\": this machine has no CUDA device, or no driver for it; look at nvidia-smi, or "
      "use "
      "backend \"mpi\" or \"threads\"");
}

std::unique_ptr<NcclApi> make_nccl_api(int device) {
  require_nccl();
  return std::make_unique<Library>(device);
}

std::unique_ptr<Transport> connect_nccl(const BackendOptions& options) {
  require_nccl();
  std::unique_ptr<Transport> control = connect_mpi(options);
  const int device = control->rank() % quant::cuda::num_devices();
  return make_nccl_transport(make_nccl_api(device), std::move(control), options.timeout_s);
}

}  // namespace thinwire::comm
