// A worker's TLS folder, as `thinwire certs` makes it: ca.crt, worker.crt and worker.key, PEM.
#pragma once

#include <string>

namespace thinwire::comm {

struct TlsFiles {
  std::string ca;
  std::string certificate;
  std::string key;
  bool empty() const { return ca.empty(); }  // no TLS
};

// Reads the folder and makes sure that its certificate is signed by its CA, holds now, and belongs to the
// key. dir empty: no TLS. Throws std::invalid_argument that names the file and what is wrong with it.
TlsFiles read_tls_files(const std::string& dir);

}  // namespace thinwire::comm
