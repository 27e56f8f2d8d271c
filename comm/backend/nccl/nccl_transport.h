// Messages over NCCL. NCCL alone makes no transport: a send waits on the device, holding processors of it,
// until the other rank posts a receive of that very size, and nothing in it tells of a rank that left. So two
// carry a message:
//
// * control, another transport between the same ranks (MPI, later gRPC): announcements, acceptances,
// confirmations,
//   farewells, whole messages of up to kInlineBytes, and at the start the unique ids of NCCL.
// * NCCL: the bytes of every longer message, once the receiver has accepted it. For each ordered pair of
// ranks there is
//   a communicator of two, whose messages both ranks post in the order in which the receiver accepted them.
//
//   sender               control                receiver
//   send()               kMessage, size  ----->  kAnnounced ... accept(): posts receives
//   posts sends  <-----  kAccept
//                  ==== NCCL, parts of 4 MiB ====
//   kSent        <-----  kDone                   kReceived
//
// So a device waits for another only while both ranks are known to be at it; a rank that leaves is heard of
// on control as on any other backend, and one that falls silent runs into the communicator's deadline. Either
// way leave() aborts NCCL's communicators, which ends what waits on the device. A message is confirmed before
// it counts as sent: who leaves with nothing under way leaves nobody waiting for its bytes.
//
// Bytes go through host memory at both ends, as the interface asks for: what NCCL carries are codes of few
// bits.
#pragma once

#include <memory>

#include "comm/backend/nccl/nccl_api.h"
#include "comm/transport.h"

namespace thinwire::comm {

// The world is that of `control`, whose messages must be delivered whole; the order between them does not
// matter. Returns when every pair has joined; throws CommError if one has not within timeout_s.
std::unique_ptr<Transport> make_nccl_transport(std::unique_ptr<NcclApi> api,
                                               std::unique_ptr<Transport> control, double timeout_s);

}  // namespace thinwire::comm
