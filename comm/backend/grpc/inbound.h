// What comes from the peers: the server side of the service Worker. Announcements, data and losses go into
// the inbox; nothing of a larger message is read before it is accepted.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "comm/backend/grpc/address.h"
#include "comm/backend/grpc/inbox.h"
#include "comm/backend/grpc/tls_files.h"

namespace thinwire::comm {

// Thread safety: none.
class Inbound {
 public:
  // Listens. Until admit() greetings of control calls wait, and messages are refused. Throws
  // std::runtime_error if it cannot listen.
  Inbound(const Address& listen, const TlsFiles& tls, std::shared_ptr<Inbox> inbox);
  // Ends all calls: what was not received is lost to its sender.
  ~Inbound();

  Address address() const;

  // From now on members of this world are let in.
  void admit(const std::string& world, int rank, int size);

  // Starts receiving an announced message that did not come whole.
  void accept(int peer, std::uint64_t sequence);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace thinwire::comm
