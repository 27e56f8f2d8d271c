// What the transport needs of NCCL and of the device, thin: so that its order of calls, its errors and its
// deadlines are tested without a GPU, by a fake. nccl_library.cpp calls NCCL; no_nccl.cpp stands in where the
// build has none.
//
// Nothing blocks: a call that NCCL has taken up but not finished leaves its pair busy, and a busy pair takes
// no call but is_ready() and abort().
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>

#include "quant/kernel/cuda/device.h"

namespace thinwire::comm {

// NCCL reported an error: the call, the error's name and text. Where CUDA did, it is the base class alone.
class NcclError : public quant::cuda::CudaError {
 public:
  using CudaError::CudaError;
};

// ncclUniqueId
using NcclId = std::array<std::byte, 128>;

// Memory for one part of a message: pinned on the host, and as much on the device.
class NcclSlot {
 public:
  virtual ~NcclSlot() = default;
  virtual std::span<std::byte> host() = 0;
  // Whether everything before the last mark() of this slot is done. Throws NcclError.
  virtual bool is_done() = 0;
};

// One direction between two ranks: a communicator of two with a stream of its own, whose work runs in order.
class NcclPair {
 public:
  // Ends what is under way. The other rank is not waited for.
  virtual ~NcclPair() = default;

  // False while NCCL is busy with an earlier call, joining included. Throws NcclError once the pair is
  // broken.
  virtual bool is_ready() = 0;

  // In the stream's order, the first num_bytes of a slot. Only if is_ready().
  virtual void copy_to_device(NcclSlot& slot, std::size_t num_bytes) = 0;
  virtual void copy_to_host(NcclSlot& slot, std::size_t num_bytes) = 0;
  virtual void send(NcclSlot& slot, std::size_t num_bytes) = 0;
  virtual void receive(NcclSlot& slot, std::size_t num_bytes) = 0;
  // slot.is_done() becomes true when all of this is done.
  virtual void mark(NcclSlot& slot) = 0;
};

class NcclApi {
 public:
  virtual ~NcclApi() = default;

  virtual NcclId make_id() = 0;
  // Joins the pair of that id. Returns at once; is_ready() when both ranks have joined.
  virtual std::unique_ptr<NcclPair> join(const NcclId& id, bool sender) = 0;
  virtual std::unique_ptr<NcclSlot> make_slot(std::size_t num_bytes) = 0;
};

}  // namespace thinwire::comm
