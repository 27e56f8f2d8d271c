// What can go wrong between workers, as types. After a CommError the communicator is unusable and says so.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace thinwire::comm {

// A peer died, a wait passed its deadline, a message was malformed or out of phase. The message says which
// operation, on which rank, with which peer and sequence number, what was expected and found, and what to do.
class CommError : public std::runtime_error {
 public:
  enum class Kind { kTimeout, kPeerLost, kBadMessage, kOutOfPhase, kClosed };
  CommError(Kind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  Kind kind() const { return kind_; }

 private:
  Kind kind_;
};

}  // namespace thinwire::comm
