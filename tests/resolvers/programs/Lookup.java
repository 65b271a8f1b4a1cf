import java.net.InetAddress;
import java.net.UnknownHostException;

/** Looks names up as Java programs do: for each argument one line, the name and
    its addresses, or the error. */
class Lookup {
    public static void main(String[] names) {
        for (String name : names) {
            StringBuilder line = new StringBuilder(name);
            try {
                for (InetAddress found : InetAddress.getAllByName(name)) {
                    String text = found.getHostAddress();
                    line.append(' ').append(text.equals("0:0:0:0:0:0:0:1") ? "::1" : text);
                }
            } catch (UnknownHostException error) {
                line.append(" error: ").append(error.getMessage());
            }
            System.out.println(line);
        }
    }
}
